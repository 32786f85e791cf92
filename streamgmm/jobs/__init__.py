"""What a user asks for: passes over an image with a model."""

# The logger of fits that have not converged: a warning for programs, and no mail from cron.
CONVERGENCE = "streamgmm.convergence"
