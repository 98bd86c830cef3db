"""HTTP listeners shared by components, and the settings of HTTP servers and clients."""
