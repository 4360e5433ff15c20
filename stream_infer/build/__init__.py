"""From settings to parts: the only modules that know both the configuration and the concrete parts."""
