"""Long jobs: started by the API, one worker thread each, followed, cancelled, journaled, resumed.

`engine` runs them, `journal` is what survives, `kinds` is what a kind of job looks like. The jobs
themselves are in `appliance.jobs`.
"""

from appliance.operations.engine import Operations
from appliance.operations.kinds import Operation, OperationContext, OperationKind, State

__all__ = ["Operation", "OperationContext", "OperationKind", "Operations", "State"]
