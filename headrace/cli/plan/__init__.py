"""What another configuration would make of traffic: tried out in memory, with nothing written and nothing sent."""
