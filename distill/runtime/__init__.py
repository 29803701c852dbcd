"""What every long computation needs.

- `checks`: of options and arguments. `seeds`: random generators. `progress`: bars. `memory`: fewer page faults.
- `distributed`: processes under `torchrun`. `workers`, `signals`, `locks`: processes and files that end cleanly.
"""
