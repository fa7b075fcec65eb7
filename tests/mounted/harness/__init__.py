# SPDX-License-Identifier: MIT
"""What the mounted tests stand on: system calls, child processes, mounts, scripts."""
