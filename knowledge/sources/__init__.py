"""Sources of documents: folders, drives and sites that the hub keeps its documents like."""
