"""The network of InnerEarSegmentation: phantoms of the bony labyrinth, training on them, evaluation, weights."""
