"""What people see: the pages, their frame, and descriptions made safe."""
