"""What the pages of the app share: workspace, sidebar, pool of models, job polling, the components of the pictures."""
