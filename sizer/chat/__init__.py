"""A chat in the terminal, with the speed of each answer beside the prediction."""
