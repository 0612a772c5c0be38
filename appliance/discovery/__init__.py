"""Who is there: mDNS both ways, liveness by our own probe, and pairing with a host that knows nobody."""

from appliance.discovery.browsing import Announcement, Discovery, render_services
from appliance.discovery.candidates import MAX_DETAILS, MAX_TEXT, Candidate, Candidates, clean
from appliance.discovery.interfaces import choose_interfaces

__all__ = [
    "MAX_DETAILS",
    "MAX_TEXT",
    "Announcement",
    "Candidate",
    "Candidates",
    "Discovery",
    "choose_interfaces",
    "clean",
    "render_services",
]
