"""Why a volume is refused."""

from tomaat.refusals import Refusal


class VolumeRefused(Refusal):
    """The file is no volume that this server takes; the sentence names the field, the value and the rule."""
