"""What falls through: projects that are not here come from other indexes; they are kept, and judged first."""
