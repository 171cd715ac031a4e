"""The training loop: phases, their losses, early stopping, and what is calibrated at the end."""
