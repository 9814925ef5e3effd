"""Hold one declaration per survey: one module, one constant `SURVEY`."""
