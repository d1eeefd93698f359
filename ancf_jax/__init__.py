"""ancf_jax."""
