"""Names in the audit trail for those who act without an API key's name or a door's."""

HOLDER = "holder of the token"
ANYBODY = "anybody"  #: no API key was needed, and none was shown
COMMAND_LINE = "command line"  #: somebody who may run commands on the server
