"""`caimi doctor`: what is missing or broken on this machine and in a state folder, and the command that mends it.

Nothing here changes anything: files are read, locks are tried and let go, ports are bound and closed.
"""
