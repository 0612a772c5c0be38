"""Why a host is in its state, and what will change that, in whole sentences. Pure."""

from appliance.api.contract import HostView
from tui.text import tail


def explain(host: HostView) -> str:
    """The appliance's own reason first, then what it means for the person who reads it."""
    reason = host.reason.strip().rstrip(".")
    meaning = _meaning(host)
    return f"{reason[0].upper()}{reason[1:]}. {meaning}".strip() if reason else meaning


def _meaning(host: HostView) -> str:
    match host.phase:
        case "Pending approval":
            return f"Compare …{tail(host.tpm_hash)} with the machine's screen, then approve or reject it."
        case "Registered":
            return "It is approved; the next news comes from the host itself when it installs."
        case "Installing":
            return "It restarts by itself into the new slot when the image is verified."
        case "Upgrading":
            return "It restarts into the other slot; if its checks fail there, it comes back by itself."
        case "Ready":
            return f"It runs {host.version or 'its image'} from slot {host.slot.upper() or '?'}."
        case "Rolled back":
            running = host.version or "the image before"
            return f"It is safe: it runs {running} again from slot {host.slot.upper() or '?'}."
        case "Failed":
            return "Nothing more happens until somebody acts; the other slot was not touched."
        case "Rejected":
            return "It gets no plan and no image; approve it to change that."
        case "Silent":
            return "Is it switched on, and is its network cable in?"
