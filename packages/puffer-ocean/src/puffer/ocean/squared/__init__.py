"""Where the tutorial's sample environment finds its simulations: see `cy_squared`."""
