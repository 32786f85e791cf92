"""What a user asks for: passes over an image with a model."""

# The logger of fits that have not converged: a warning for programs, and no mail from cron.
CONVERGENCE = "streamgmm.convergence"
# The logger of what an input has and its output does not get: a line that one who wants no more than errors turns off.
DROPPED = "streamgmm.dropped"
