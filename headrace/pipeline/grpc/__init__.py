"""gRPC servers and clients, with the settings of the Collector's ``configgrpc``."""
