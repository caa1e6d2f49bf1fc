"""What is promised about faults: each module shows one promise of docs/reliability.md."""
