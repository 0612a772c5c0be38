"""Which targets mean an appliance that is the one cluster `local`."""

import msgspec
import pytest

from appliance.controllers.cluster_targets import find_exclusion
from appliance.resources.managed_os_image import ClusterTarget


@pytest.mark.parametrize(
    ("targets", "is_meant"),
    [
        (None, True),
        ([], True),
        ([{"clusterName": "local"}], True),
        ([{"clusterSelector": {}}], True),
        ([{"clusterName": "another"}, {"clusterSelector": {}}], True),
        ([{"clusterName": "local", "clusterSelector": {}}], True),
        ([{}], False),
        ([{"clusterName": "another"}], False),
        ([{"clusterSelector": {"matchLabels": {"site": "north"}}}], False),
        ([{"clusterName": "local", "clusterSelector": {"matchLabels": {"site": "north"}}}], False),
        ([{"clusterGroup": "all"}], False),
        ([{"clusterGroupSelector": {}}], False),
        ([{"clusterName": "local", "doNotDeploy": True}, {"clusterSelector": {}}], False),
    ],
    ids=range(13),
)
def test_the_first_target_that_fits_decides(targets: list[object] | None, is_meant: bool) -> None:
    found = find_exclusion(msgspec.convert(targets, list[ClusterTarget] | None))

    assert (found == "") is is_meant
