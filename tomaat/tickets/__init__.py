"""The ticket: its states, its row, its queue, and the stores through which each door moves it."""
