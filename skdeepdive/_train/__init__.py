"""The training loop: phases, their losses, the stop rule, and what is calibrated at the end."""
