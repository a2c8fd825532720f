"""What `python -m puffer.ocean` does: begin a new environment, play one, measure one."""
