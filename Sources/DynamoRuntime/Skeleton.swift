enum SkeletonDynamoRuntime {}
