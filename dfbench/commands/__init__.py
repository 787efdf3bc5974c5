"""The commands, one function each; heavy imports inside it, so that help is instant."""
