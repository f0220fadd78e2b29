"""Pure array functions: a signal in mV -> a network's windows, R peaks and measurements."""
