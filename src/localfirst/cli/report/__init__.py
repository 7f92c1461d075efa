"""A bench as one page of HTML with plots: no network, no script, no font of others."""
