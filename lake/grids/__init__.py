"""Hold the grid edges of Gaia releases, computed from the ranges that name the bulk files."""
