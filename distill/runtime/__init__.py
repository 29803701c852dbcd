"""What every long computation needs.

- `checks`: of options and arguments. `seeds`: random generators. `progress`: bars. `memory`: fewer page faults.
- `ranks`: several processes under `torchrun`. `workers`, `stops`, `locks`: processes and files that end cleanly.
"""
