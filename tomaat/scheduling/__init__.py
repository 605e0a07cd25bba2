"""TaskScheduling's process: leases and lanes, running tickets, the engine that starts workers."""
