"""The other ways to do it, each as a competent user of its tools would write it. As such they share no code."""
