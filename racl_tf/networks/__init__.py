"""Image classifiers stacked from cells: the supernet and the network of a genotype."""
