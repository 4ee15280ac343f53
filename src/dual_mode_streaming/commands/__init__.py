"""The commands of `dual-mode`, a module each. They import what they need when they run."""
