"""Workers on other machines: the engine's side, the node's program, and Ray, which finds the nodes."""
