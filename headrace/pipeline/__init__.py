"""The framework: data model, component contracts, configuration, graph and delivery."""
