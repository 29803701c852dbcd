"""What every long computation needs: checks of options, seeds, progress, memory, processes, locks."""
