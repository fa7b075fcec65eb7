# SPDX-License-Identifier: MIT
"""One module for each group of workloads; each has run(bench)."""
