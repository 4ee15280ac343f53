"""The commands of `dual-mode`, one module each. They import what they need when they run."""
