"""What pages share: frame, components, options, menus, edits of a place."""
