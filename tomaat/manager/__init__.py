"""QueueManager's process: give tickets to the shortest queue, take them back, remove files whose time is over."""
