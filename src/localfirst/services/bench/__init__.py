"""`lf bench`: who is measured, how, and under which conditions; what is told of it is `localfirst.bench`'s."""
