"""Job files around one `dfbench` command, for the engines that people have already."""
