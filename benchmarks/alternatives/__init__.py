"""Alternatives, each written as an experienced user of its tools would write it. They share no code on purpose."""
