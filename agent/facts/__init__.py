"""What a host says of itself. Start at `host_facts`; each file beside it reads one part of the machine."""

from agent.facts.host_facts import NO_FACTS, Facts, read_annotations, read_facts

__all__ = ["NO_FACTS", "Facts", "read_annotations", "read_facts"]
