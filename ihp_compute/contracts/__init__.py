"""Contract terms shipped with the engine, one TOML file per programme, generation and track."""
