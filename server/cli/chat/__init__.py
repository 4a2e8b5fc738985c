"""`glow chat`: a conversation at a terminal, in process, through the same runs and the same gate as everywhere."""
