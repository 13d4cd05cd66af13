"""Results of any runs, side by side on one page."""
