"""What a client may have: answers at a time, requests a minute, and by which key."""
