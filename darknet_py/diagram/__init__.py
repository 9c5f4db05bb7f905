"""Diagrams of networks: stages at their resolution, blocks folded, connections and heads."""
